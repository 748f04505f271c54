"""Gemini to the middle form and back: requests, answers, streams, embeddings."""
