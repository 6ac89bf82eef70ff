"""What Flexport makes of write requests: it checks their bodies, and makes or changes objects of the world."""
