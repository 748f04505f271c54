"""OpenAI image generation on Imagen models."""

from __future__ import annotations

from typing import Any

from openai.types import ImagesResponse
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.convert import imagen
from knight_tw.convert.context import Context
from knight_tw.errors import EmptyAnswer, InvalidRequest, UpstreamRefused


class Requests(SynchronousTestCase):
    """What Imagen is asked."""

    def parameters(self, **body: Any) -> tuple[dict[str, Any], list[str]]:
        """The parameters for a body, and what was dropped."""
        context = Context("imagen")
        found = imagen.request_to_imagen({"prompt": "p", **body}, context)
        self.assertEqual(found["instances"], [{"prompt": "p"}])
        return found["parameters"], context.dropped

    def test_defaults(self) -> None:
        """One image of the smaller size, its shape being the model's."""
        usual = {"sampleCount": 1, "imageSize": "1K", "personGeneration": "allow_adult"}
        for n in (None, 0, 1):
            self.assertEqual(self.parameters(n=n), (usual, []))

    def test_sizes(self) -> None:
        """Sizes become ratios; one that is not known is reported."""
        cases: tuple[tuple[Any, Any, list[str]], ...] = (
            ("1024x1024", "1:1", []),
            ("1536x1024", "3:2", []),
            ("1024X1792", "9:16", []),
            ("4:3", "4:3", []),
            ("auto", None, []),
            ("640x480", None, ["size"]),
            ("huge", None, ["size"]),
        )
        for size, ratio, dropped in cases:
            parameters, reported = self.parameters(size=size)
            self.assertEqual(
                (parameters.get("aspectRatio"), reported), (ratio, dropped)
            )

    def test_quality(self) -> None:
        """High qualities ask for the larger size."""
        for quality, size in (("hd", "2K"), ("2K", "2K"), ("low", "1K"), (None, "1K")):
            self.assertEqual(self.parameters(quality=quality)[0]["imageSize"], size)

    def test_the_rest_is_reported(self) -> None:
        """Images come in the answer; other fields have no equivalent."""
        body = {"response_format": "url", "style": "vivid", "user": None}
        self.assertEqual(self.parameters(**body)[1], ["response_format", "style"])

    def test_refused(self) -> None:
        """A wrong prompt or number is refused by name."""
        for body, param in (
            ({"prompt": 7}, "prompt"),
            ({"prompt": "p", "n": "two"}, "n"),
            ({"prompt": "p", "n": 129}, "n"),
        ):
            error = self.assertRaises(
                InvalidRequest, imagen.request_to_imagen, body, Context("i")
            )
            self.assertEqual(error.param, param)


class Answers(SynchronousTestCase):
    """What Imagen answers."""

    def test_images(self) -> None:
        """Images in their order; filtered ones are missing."""
        predictions = [{"bytesBase64Encoded": "AA"}, {"raiFilteredReason": "x"}]
        found = imagen.answer_from_imagen(
            {"predictions": predictions}, Context("i", created=5)
        )
        self.assertEqual(found, {"created": 5, "data": [{"b64_json": "AA"}]})
        ImagesResponse.model_validate(found)

    def test_failures(self) -> None:
        """A filter that left nothing is a refusal, nothing at all is empty."""
        blocked = {"predictions": [{}, {"raiFilteredReason": "unsafe"}]}
        error = self.assertRaises(
            UpstreamRefused, imagen.answer_from_imagen, blocked, Context("i")
        )
        self.assertEqual((error.status, error.code), (400, "prompt_blocked"))
        for answer in ({}, {"predictions": [{}]}):
            self.assertRaises(
                EmptyAnswer, imagen.answer_from_imagen, answer, Context("i")
            )
