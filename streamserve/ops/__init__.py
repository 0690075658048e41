"""What the person on call looks at: metrics, health, logs."""
