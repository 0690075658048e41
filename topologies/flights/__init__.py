"""Flights: will this departure arrive more than 15 minutes late? Scored an hour ahead, judged when it lands."""
