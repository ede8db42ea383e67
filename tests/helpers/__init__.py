"""What tests share: recordings, made-up datasets and reports, and readers of what is shown."""
