"""Names of Google's models, and which of them do what."""

from __future__ import annotations

import re

GEMINI_MODELS: tuple[str, ...] = (
    "gemini-2.0-flash",
    "gemini-2.0-flash-001",
    "gemini-2.0-flash-lite",
    "gemini-2.0-flash-lite-001",
    "gemini-2.5-flash",
    "gemini-2.5-flash-lite",
    "gemini-2.5-pro",
    "gemini-flash-latest",
    "gemini-flash-lite-latest",
    "gemini-pro-latest",
    "gemini-2.5-flash-preview-tts",
    "gemini-2.5-pro-preview-tts",
    "gemini-2.5-flash-image",
    "gemini-3-pro-preview",
    "gemini-3-flash-preview",
    "gemini-3.1-pro-preview",
    "gemini-3.1-pro-preview-customtools",
    "gemini-3.1-flash-lite-preview",
    "gemini-3-pro-image-preview",
    "gemini-3.1-flash-image-preview",
    "nano-banana-pro-preview",
    "gemini-2.5-computer-use-preview-10-2025",
    "gemini-2.5-flash-native-audio-latest",
    "deep-research-pro-preview-12-2025",
    "gemma-3-1b-it",
    "gemma-3-4b-it",
    "gemma-3-12b-it",
    "gemma-3-27b-it",
    "gemma-3n-e4b-it",
    "gemma-3n-e2b-it",
    "gemini-embedding-001",
    "gemini-embedding-2-preview",
    "imagen-4.0-generate-001",
    "imagen-4.0-ultra-generate-001",
    "imagen-4.0-fast-generate-001",
    "veo-2.0-generate-001",
    "veo-3.0-generate-001",
    "veo-3.0-fast-generate-001",
    "veo-3.1-generate-preview",
    "veo-3.1-fast-generate-preview",
    "aqa",
)

_SIZED = re.compile(r"text-embedding-00[4-9]|gemini-embedding-")


def makes_images(model: str) -> bool:
    """True for the models that paint and do nothing else."""
    return model.startswith("imagen")


def takes_dimensions(model: str) -> bool:
    """True for embedding models whose vectors can be shortened."""
    return _SIZED.match(model) is not None
