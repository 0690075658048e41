"""Coming from other engines: a Faust app ported, and what shows that both come to the same."""
