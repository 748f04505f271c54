"""Lengths of recordings; the files are a tone of 0.6 seconds, made by FFmpeg."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.wire import sounds
from knight_tw.wire.sounds import Sound, measured

RECORDINGS = Path(__file__).parent / "recordings"
NAMES = sorted(path.name for path in RECORDINGS.iterdir())
DATA = {name: (RECORDINGS / name).read_bytes() for name in NAMES}


class Files(SynchronousTestCase):
    """What FFmpeg writes."""

    def test_each_format_tells_its_length(self) -> None:
        """Compressed ones by what encoders put in front and behind, too."""
        for name in NAMES:
            seconds = measured(DATA[name]).seconds
            self.assertTrue(0.59 < (seconds or 0) < 0.71, (name, seconds))

    def test_exact_ones(self) -> None:
        """Formats that count samples."""
        for name in ("tone.wav", "tone.flac", "streamed.flac", "tone.m4a"):
            self.assertEqual(measured(DATA[name]).seconds, 0.6, name)

    def test_all_of_them_are_here(self) -> None:
        """A lost file is no passed test."""
        endings = {name.rpartition(".")[2] for name in NAMES}
        self.assertEqual(endings, {"flac", "wav", "opus", "mp3", "aac", "m4a", "webm"})

    @settings(max_examples=60, deadline=None)
    @given(st.sampled_from(NAMES), st.lists(st.integers(1, 4000), min_size=1))
    def test_any_pieces(self, name: str, sizes: list[int]) -> None:
        """The length does not depend on how the bytes come."""
        data, sound, at, turn = DATA[name], Sound(), 0, 0
        while at < len(data):
            size = sizes[turn % len(sizes)]
            sound.feed(data[at : at + size])
            at, turn = at + size, turn + 1
        self.assertEqual(sound.seconds, measured(data).seconds)
        self.assertEqual(sound.size, len(data))

    @settings(max_examples=60, deadline=None)
    @given(st.sampled_from(NAMES), st.integers(0, 6000), st.binary(max_size=40))
    def test_damage_is_survived(self, name: str, at: int, noise: bytes) -> None:
        """Broken recordings have some length or none, never a negative one."""
        data = DATA[name]
        broken = data[:at] + noise + data[at + len(noise) :]
        self.assertGreaterEqual(measured(broken).seconds or 0.0, 0.0)


class Streams(SynchronousTestCase):
    """Recordings whose heads do not know how long they will be."""

    def test_endless_wav(self) -> None:
        """What has come counts, not the largest number there is."""
        data = DATA["tone.wav"]
        at = data.index(b"data") + 4
        endless = data[:at] + b"\xff\xff\xff\xff" + data[at + 4 :]
        self.assertEqual(measured(endless).seconds, 0.6)

    def test_a_part(self) -> None:
        """Half of a WAV file is half as long."""
        data = DATA["tone.wav"]
        half = len(data) - (len(data) - 44) // 2
        self.assertAlmostEqual(measured(data[:half]).seconds or 0, 0.3, places=1)

    def test_samples(self) -> None:
        """Raw samples are measured by their size, if they are said to be raw."""
        self.assertEqual(measured(b"\1\2" * 48_000, "pcm").seconds, 2.0)
        self.assertIsNone(measured(b"\1\2" * 48_000, "mp3").seconds)
        self.assertIsNone(measured(b"short", "mp3").seconds)
        self.assertIsNone(measured(b"").seconds)

    def test_long_ones_are_reckoned(self) -> None:
        """Beyond a number of frames the length follows from the bytes."""
        data = DATA["tone.mp3"]
        frames = data[data.index(b"\xff") :]
        whole = measured(frames * 40).seconds
        self.patch(sounds, "MOST_ELEMENTS", 100)
        reckoned = measured(frames * 40)
        self.assertLess(abs((reckoned.seconds or 0) - (whole or 0)), 2)
        self.assertLessEqual(reckoned._steps, 100)

    def test_older_frames(self) -> None:
        """Layers I and II, and MPEG-2.5."""
        cases = (
            (b"\xff\xff\x90\x00", 384 / 44_100, (12 * 288_000 // 44_100) * 4),
            (b"\xff\xfd\x90\x00", 1152 / 44_100, 144 * 160_000 // 44_100),
            (b"\xff\xe3\x90\x00", 576 / 11_025, 72 * 80_000 // 11_025),
        )
        for head, seconds, size in cases:
            frame = head.ljust(size, b"\0")
            found = measured(frame * 10).seconds
            self.assertAlmostEqual(found or 0, seconds * 10, places=6)
