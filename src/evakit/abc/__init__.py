"""The contracts: what a plugin's author implements, one kind a file.

What may not live here: retries, metrics, history, and defaults that hide errors.
"""

from .._forked import leak
from .._logging import logger
from .._threads import check_cancelled, stop_asked
from ..devices import Evidence, Strength, WarmUp
from .backend import Backend, BlockingBackend, Capabilities, LoadContext
from .llm import (
    LLM,
    BlockingLLM,
    CallbackLLM,
    Finish,
    LLMChunk,
    LLMRequest,
    LLMStream,
    ToolCall,
    Usage,
)
from .stt import STT, BlockingSTT, STTOptions, STTSession, STTUpdate
from .tts import TTS, BlockingTTS, Speech, TTSOptions, TTSSession
from .turn_detector import BlockingTurnDetector, TurnDetector, TurnQuestion
from .vad import VAD, BlockingVAD, BlockingVADSession, VADSession

__all__ = [
    "LLM",
    "STT",
    "TTS",
    "VAD",
    "Backend",
    "BlockingBackend",
    "BlockingLLM",
    "BlockingSTT",
    "BlockingTTS",
    "BlockingTurnDetector",
    "BlockingVAD",
    "BlockingVADSession",
    "CallbackLLM",
    "Capabilities",
    "Evidence",
    "Finish",
    "LLMChunk",
    "LLMRequest",
    "LLMStream",
    "LoadContext",
    "STTOptions",
    "STTSession",
    "STTUpdate",
    "Speech",
    "Strength",
    "TTSOptions",
    "TTSSession",
    "ToolCall",
    "TurnDetector",
    "TurnQuestion",
    "Usage",
    "VADSession",
    "WarmUp",
    "check_cancelled",
    "leak",
    "logger",
    "stop_asked",
]
