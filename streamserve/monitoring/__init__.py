"""Statistics and drift of features and predictions; the home of River."""
