"""Every image through the frozen encoder once, into a content-addressed cache."""
