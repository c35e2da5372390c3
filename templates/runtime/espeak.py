"""Speech of eSpeak NG, a formant synthesizer, as a program of its own.

    python espeak.py < requests.json > samples.bin

Reads a JSON list of requests `[text, voice, rate, pitch]`: words a minute, and a pitch from 0 to
100. Writes, for each, the number of its samples in four bytes and the samples, 16 bits each, at
22,050 a second.

The library's first sound after its start is the same in each process; later ones depend on what it
said before, and for some voices on more than that. So each request is spoken by a copy of the
process that has said nothing yet.
"""

import ctypes
import json
import os
import sys
from importlib.metadata import distribution
from pathlib import Path

RATE = 22050  # samples a second, of all voices that the library brings
RETRIEVAL, UTF_8 = 2, 1  # espeak_AUDIO_OUTPUT and espeakCHARS_* of speak_lib.h
WORDS_A_MINUTE, PITCH = 1, 3  # espeak_PARAMETER of speak_lib.h
Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


def started() -> ctypes.CDLL:
    """Return the library, which has said nothing yet."""
    folder = Path(str(distribution("espeakng-loader").locate_file("espeakng_loader")))
    library = ctypes.CDLL(str(folder / "libespeak-ng.so"))
    if library.espeak_Initialize(RETRIEVAL, 0, str(folder).encode(), 0) != RATE:
        sys.exit("the library of espeakng-loader cannot be started")
    library.espeak_Synth.argtypes = (
        *(ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int),
        *(ctypes.c_uint, ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p),
    )
    return library


def speak(library: ctypes.CDLL, text: str, voice: str, rate: int, pitch: int) -> bytes:
    """Return the samples of a text; none for a voice that the library does not have."""
    heard: list[bytes] = []

    def keep(samples: "ctypes._Pointer[ctypes.c_short]", count: int, events: int | None) -> int:
        if count > 0:
            heard.append(ctypes.string_at(samples, 2 * count))
        return 0

    callback = Callback(keep)
    library.espeak_SetSynthCallback(callback)
    if library.espeak_SetVoiceByName(voice.encode()):
        return b""
    library.espeak_SetParameter(WORDS_A_MINUTE, rate, 0)
    library.espeak_SetParameter(PITCH, pitch, 0)
    said = text.encode() + b"\0"
    library.espeak_Synth(said, len(said), 0, 1, 0, UTF_8, None, None)
    library.espeak_Synchronize()
    return b"".join(heard)


def main() -> None:
    """Speak the requests."""
    library = started()
    for request in json.load(sys.stdin):
        copy = os.fork()
        if copy == 0:
            samples = speak(library, *request)
            with open(1, "wb", closefd=False) as out:
                out.write((len(samples) // 2).to_bytes(4, "little") + samples)
            os._exit(0)
        os.waitpid(copy, 0)


if __name__ == "__main__":
    main()
