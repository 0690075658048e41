"""What ``streamserve bench`` measures, and the yardstick that it is measured with."""
