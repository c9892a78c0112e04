"""evakit-beep: a TTS that says each word as a beep, and all there is to a plugin."""

import numpy as np

from evakit import Audio, BackendSpec, hookimpl
from evakit.abc import BlockingTTS


class BeepTTS(BlockingTTS):
    def synthesize(self, text, options):
        for word in text.split():
            yield Audio(0.2 * np.sin(np.arange(1600 * len(word)) * 0.2), 16_000)


@hookimpl
def evakit_backends():
    return [BackendSpec(kind="tts", name="beep", factory=BeepTTS)]
