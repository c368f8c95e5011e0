"""What a page of the review app and its server say to each other, read from the frames of their socket."""

from __future__ import annotations

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg


class Traffic:
    """What goes between a page and the script behind it: whether the script has ended with all that the page sent.

    The page itself does not say: its state is "notRunning" also when a key is on its way to the server, or when the
    server has begun and the page has not heard of it.
    """

    def __init__(self, page):
        self.open, self.socket = "asked", None  # what the page waits for: asked, begun, finished; "" for nothing
        page.on("request", self._went)
        page.on("websocket", self._connected)

    def _went(self, request) -> None:
        if request.is_navigation_request() and request.frame.parent_frame is None:
            self.open, self.socket = "asked", None  # another page: it will ask for its first drawing

    def _connected(self, socket) -> None:
        self.socket = socket
        socket.on("framesent", lambda frame: socket is self.socket and self._sent(frame))
        socket.on("framereceived", lambda frame: socket is self.socket and self._received(frame))

    def _sent(self, frame: bytes | str) -> None:
        if isinstance(frame, bytes) and BackMsg.FromString(frame).WhichOneof("type") == "rerun_script":
            self.open = "asked"

    def _received(self, frame: bytes | str) -> None:
        message = ForwardMsg.FromString(frame) if isinstance(frame, bytes) else ForwardMsg()
        kind = message.WhichOneof("type")
        if kind == "new_session" and self.open:
            self.open = "begun"
        elif kind == "script_finished" and self.open == "begun":
            early = message.script_finished == ForwardMsg.FINISHED_EARLY_FOR_RERUN
            self.open = "begun" if early else "finished"
        elif kind == "session_status_changed" and not message.session_status_changed.script_is_running:
            self.open = "" if self.open == "finished" else self.open
