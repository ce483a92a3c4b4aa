"""Modbus RTU frames as the CMM protocol carries them: hex text with CRC, several separated by ``;`` (section 8).

All names of the parts: ``envelope`` (CRC, functions), ``requests``, ``responses``, ``upload_layout``. Values, never
transports. Everything wrong with a frame is a :exc:`ModbusFrameError`.
"""

from cmmd.modbus.envelope import BadCRCError, Function, ModbusFrameError, build_frame, open_frame, split_frames
from cmmd.modbus.requests import (
    MAX_PLAN,
    ReadRequest,
    Request,
    WriteCoilRequest,
    WriteCoilsRequest,
    WriteRegisterRequest,
    WriteRegistersRequest,
    WriteRequest,
    parse_plan,
    parse_read_request,
    parse_request,
)
from cmmd.modbus.responses import (
    ExceptionResponse,
    ExpectedResponse,
    ReadResponse,
    Response,
    WriteResponse,
    coils_response,
    matches,
    parse_response,
    read_response,
    registers_response,
    write_response,
)
from cmmd.modbus.upload_layout import UploadLayout

__all__ = [
    "MAX_PLAN",
    "BadCRCError",
    "ExceptionResponse",
    "ExpectedResponse",
    "Function",
    "ModbusFrameError",
    "ReadRequest",
    "ReadResponse",
    "Request",
    "Response",
    "UploadLayout",
    "WriteCoilRequest",
    "WriteCoilsRequest",
    "WriteRegisterRequest",
    "WriteRegistersRequest",
    "WriteRequest",
    "WriteResponse",
    "build_frame",
    "coils_response",
    "matches",
    "open_frame",
    "parse_plan",
    "parse_read_request",
    "parse_request",
    "parse_response",
    "read_response",
    "registers_response",
    "split_frames",
    "write_response",
]
