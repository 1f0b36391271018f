"""drama-train: measures retrievers in the app's own search; the training stages come with a later version."""
