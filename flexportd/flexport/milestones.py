"""The catalogue of milestones: every event type that Flexport documents, and three more seen in the wild.

Source: https://apidocs.flexport.com/v2/tag/Milestones. Types are `<prefix>#<name>`; the prefix is not the type of the
resource and varies between pages, so a milestone is looked up by its name. Those `upon_request` arrive only after
asking Flexport for them: changes of ETD and ETA are among them. New types may appear at any time.
"""

from dataclasses import dataclass
from typing import Literal

Group = Literal["progress", "dates", "customs", "documents", "problems", "billing"]


@dataclass(frozen=True, slots=True)
class Milestone:
    """One event type; `group` is ours, for colours and filters."""

    type: str
    title: str
    group: Group
    upon_request: bool = False
    deprecated: bool = False
    published: bool = True

    @property
    def name(self) -> str:
        """What follows the `#`."""
        return self.type.partition("#")[2]


CATALOGUE = (
    Milestone("/shipment#schedule_confirmed", "Schedule Confirmed", "progress"),
    Milestone("/shipment_leg#arrived", "Actual Time of Arrival (ATA)", "progress"),
    Milestone("/shipment_leg#departed", "Actual Time of Departure (ATD)", "progress"),
    Milestone("/shipment_leg#out_for_delivery", "Actual Out for Delivery", "progress", upon_request=True),
    Milestone("/shipment_leg#delivery_completed", "Delivery Complete", "progress", upon_request=True),
    Milestone("/ocean/shipment_container_leg#loaded_on_board", "Loaded on Board", "progress", upon_request=True),
    Milestone("/ocean/shipment_leg#loaded_on_truck", "Loaded on Truck", "progress", upon_request=True),
    Milestone("/ocean/shipment_container_leg#unloaded_off_board", "Unloaded off Board", "progress", upon_request=True),
    Milestone("/shipment_leg#delivered", "Arrived at Delivery Location", "progress"),
    Milestone("/shipment#delivered_in_full", "Delivered in Full", "progress"),
    Milestone("/shipment#created", "Shipment Created", "progress"),
    Milestone("/shipment#booking_confirmed", "Air Booking Confirmed", "progress", upon_request=True),
    Milestone(
        "/ocean/shipment_container_leg#available_for_pickup", "Container Available", "progress", upon_request=True
    ),
    Milestone("/ocean/shipment_container#empty_returned", "Empty Equipment Returned", "progress"),
    Milestone(
        "/shipment_leg#updated_estimated_time_of_departure",
        "Updated Estimated Time of Departure (ETD)",
        "dates",
        upon_request=True,
    ),
    Milestone(
        "/shipment_leg#updated_estimated_time_of_arrival",
        "Updated Estimated Time of Arrival (ETA)",
        "dates",
        upon_request=True,
    ),
    Milestone(
        "/shipment_leg#updated_estimated_out_for_delivery",
        "Updated Estimated Out for Delivery",
        "dates",
        upon_request=True,
    ),
    Milestone("/shipment#updated_route", "Updated Route", "dates", upon_request=True),
    Milestone(
        "/shipment_container_leg#updated_estimated_available_for_pickup",
        "Updated Estimated Available for Pickup",
        "dates",
        upon_request=True,
    ),
    Milestone("/shipment#cargo_ready_date_changed", "Updated Cargo Ready Date", "dates"),
    Milestone("/shipment#updated_cargo_ready_date", "Updated Cargo Ready Date", "dates"),
    Milestone(
        "/shipment_leg#delivery_appointment_requested", "Delivery Appointment Requested", "dates", upon_request=True
    ),
    Milestone("/shipment_leg#delivery_appointment_scheduled", "Delivery Appointment Scheduled", "dates"),
    Milestone("/ocean/shipment_container#free_time_to_expire", "Free Time to Expire", "dates"),
    Milestone("/ocean/shipment_container#free_time_expired", "Free Time Expired", "dates"),
    Milestone(
        "/shipment_container_leg#delivery_appointment_scheduled",
        "Delivery Appointment Scheduled",
        "dates",
        deprecated=True,
    ),
    Milestone("/shipment#customs_entry_release_status_released", "Customs Released", "customs"),
    Milestone("/shipment#customs_agriculture_hold", "Customs Hold", "customs"),
    Milestone("/shipment#customs_entry_release_status_document_required", "Customs Hold", "customs"),
    Milestone("/shipment#customs_entry_release_status_entry_docs_required", "Customs Hold", "customs"),
    Milestone("/shipment#customs_entry_release_status_pending_intensive_exam", "Customs Hold", "customs"),
    Milestone("/shipment#customs_entry_release_status_release_suspended", "Customs Hold", "customs"),
    Milestone("/shipment#customs_entry_release_status_under_cbp_review", "Customs Hold", "customs"),
    Milestone("/shipment#customs_undergoing_x_ray_exam", "Customs Hold", "customs"),
    Milestone("/shipment#export_country_customs_exam", "Customs Hold", "customs"),
    Milestone("/shipment#export_country_magnetism_exam", "Customs Hold", "customs"),
    Milestone("/shipment#documents_sent_to_nominated_broker", "Documents Sent to Nominated Broker", "documents"),
    Milestone("/shipments#commercial_invoices_digitized", "Commercial Invoices Digitized", "documents"),
    Milestone(
        "/shipment#filing_submitted_for_in_bond_transportation",
        "Filing Submitted for in Bond Transportation",
        "documents",
    ),
    Milestone("/shipment#ftz_admission", "FTZ Admission", "documents"),
    Milestone("/document#document_created", "Document Created", "documents", published=False),
    Milestone("/purchase_order#acknowledged", "Purchase Order WebhookAcknowledgement", "documents", published=False),
    Milestone("/purchase_order#updated", "Purchase Order Updated", "documents", published=False),
    Milestone("/shipment#returned_to_shipper", "Returned to Shipper", "problems"),
    Milestone("/shipment#cargo_breakdown_delay", "Cargo Breakdown Delay", "problems"),
    Milestone("/shipment#cargo_bumped_from_booked_flight", "Cargo Bumped from Booked Flight", "problems"),
    Milestone("/shipment#cargo_contamination_delay", "Cargo Contamination Delay", "problems"),
    Milestone("/shipment#cargo_not_available", "Cargo Not Available", "problems"),
    Milestone("/shipment#cargo_ready_date_changed_exception", "Cargo Ready Date Changed Exception", "problems"),
    Milestone("/shipment#cargo_rolled_from_booked_vessel", "Cargo Rolled From Booked Vessel", "problems"),
    Milestone("/shipment#dry_run_pickup", "Dry Run: Pick Up Not Completed", "problems"),
    Milestone(
        "/shipment#dry_run_delivery_attempt_not_completed", "Dry Run: Delivery Attempt Not Completed", "problems"
    ),
    Milestone("/shipment#equipment_unavailable", "Equipment Unavailable", "problems"),
    Milestone("/shipment#flight_delay_mechanical", "Flight Delay: Mechanical Problem", "problems"),
    Milestone(
        "/shipment#flight_delay_schedule_updated_by_carrier", "Flight Delay: Schedule Updated By Carrier", "problems"
    ),
    Milestone("/shipment#late_bill_of_lading_release", "Late Bill of Lading Release", "problems"),
    Milestone("/shipment#missed_appointment", "Missed Appointment", "problems"),
    Milestone("/shipment#missing_cargo", "Missing Cargo", "problems"),
    Milestone("/shipment#no_appointments_available", "No Appointments Available", "problems"),
    Milestone("/shipment#no_attempt_made", "No Attempt Made", "problems"),
    Milestone("/shipment#ocean_port_dwell_delay", "Ocean Port Dwell Delay", "problems"),
    Milestone(
        "/shipment#pending_customs_clearance_from_nominated_broker",
        "Pending Customs Clearance from Nominated Broker",
        "problems",
    ),
    Milestone(
        "/shipment#pending_delivery_appointment_confirmation", "Pending Delivery Appointment Confirmation", "problems"
    ),
    Milestone("/shipment#port_strike_delay", "Port Strike Delay", "problems"),
    Milestone("/shipment#rail_car_equipment_breakdown", "Rail Car Equipment Breakdown", "problems"),
    Milestone("/shipment#rail_interchange_delay", "Rail Interchange Delay", "problems"),
    Milestone("/shipment#rail_transfer_delay", "Rail Transfer Delay", "problems"),
    Milestone("/shipment#shipment_rerouted_by_carrier", "Shipment Re-Routed by Carrier", "problems"),
    Milestone("/shipment#shipment_rerouted_per_client_request", "Shipment Re-Routed per Client Request", "problems"),
    Milestone("/shipment#supplier_late_gate_in", "Supplier Late Gate In", "problems"),
    Milestone("/shipment#supplier_late_documents", "Supplier Late Documents", "problems"),
    Milestone("/shipment#transload_delay", "Transload Delay", "problems"),
    Milestone("/shipment#transshipment_delay", "Transshipment Delay", "problems"),
    Milestone("/shipment#trucker_rejected", "Trucker Rejected", "problems"),
    Milestone("/shipment#truckers_hours_expired", "Trucker's Hours Expired", "problems"),
    Milestone("/shipment#trucking_delay_chassis_problem", "Trucking Delay: Chassis Problem", "problems"),
    Milestone("/shipment#trucking_delay_mechanical_problem", "Trucking Delay: Mechanical Problem", "problems"),
    Milestone("/shipment#trucking_delay_port_congestion", "Trucking Delay: Port Congestion", "problems"),
    Milestone("/shipment#trucking_delay_other", "Trucking Delay: Other", "problems"),
    Milestone("/shipment#trucking_delay_strike", "Trucking Delay: Strike", "problems"),
    Milestone("/shipment#trucking_delay_traffic", "Trucking Delay: Traffic", "problems"),
    Milestone("/shipment#vessel_delay_mechanical", "Vessel Delay: Mechanical Problem", "problems"),
    Milestone("/shipment#vessel_delay_port_congestion", "Vessel Delay: Port Congestion", "problems"),
    Milestone(
        "/shipment#vessel_delay_schedule_updated_by_carrier", "Vessel Delay: Schedule Updated By Carrier", "problems"
    ),
    Milestone("/shipment#warehouse_devan_delay", "Warehouse Devan Delay", "problems"),
    Milestone("/shipment#weather_delay", "Weather Delay", "problems"),
    Milestone("/invoice#invoice_payment_made", "Invoice Payment Made", "billing"),
    Milestone("/invoice#invoice_due_date_adjusted", "Invoice Due Date Adjusted", "billing"),
    Milestone("/invoice#invoice_shared", "Invoice Shared", "billing"),
    Milestone("/invoice#invoice_voided", "Invoice Voided", "billing"),
    Milestone("/invoice#invoice_credit_applied", "Invoice Credit Applied", "billing"),
    Milestone("/invoice#invoice_refund_applied", "Invoice Refund Applied", "billing"),
    Milestone("/invoice#invoice_payment_failed", "Invoice Payment Failed", "billing"),
)

BY_NAME = {milestone.name: milestone for milestone in CATALOGUE}


def milestone(event_type: str | None) -> Milestone | None:
    """The milestone of an event type, by what follows the `#`; None for one that is not in the catalogue."""
    return None if event_type is None else BY_NAME.get(event_type.partition("#")[2])


def title(event_type: str | None) -> str:
    """What to call an event of this type: the catalogue's title, else its own name made readable."""
    known = milestone(event_type)
    if known:
        return known.title
    return (event_type or "Unknown event").rpartition("#")[2].replace("_", " ").strip().capitalize() or "Unknown event"
