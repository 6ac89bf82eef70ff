"""Currencies and their minor units.

Source: ISO 4217, list one of its maintenance agency, SIX Group, of 1 January 2025
(https://www.six-group.com/en/products-services/financial-information/data-standards.html), and of list three what was
withdrawn since 2014: old invoices are in it.
"""

_MINOR_UNITS = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF BYR",
    2: "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF "
    "CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF "
    "IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN "
    "MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS "
    "SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW "
    "ZWG ANG CUC HRK LTL LVL MRO SLL STD VEF ZWL",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
MINOR_UNITS = {code: places for places, codes in _MINOR_UNITS.items() for code in codes.split()}
"""Currency -> digits behind the point of its amounts. Metals, funds and test codes are left out: nothing costs them."""


def is_currency(code: str) -> bool:
    """Whether a code is that of a currency; none given is no other."""
    found = code.strip().upper()
    return not found or found in MINOR_UNITS
