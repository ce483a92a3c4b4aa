"""The words of devices and programs, for the engine to put into inputs."""

__all__ = ["HOSTID", "JSON_WORDS", "LARGE_DOCUMENTS", "MESSAGE_WORDS"]

HOSTID = b"3439333633355115004B003D"

JSON_WORDS = (
    *(b'{"', b'":"', b'","', b'"}', b'"}}', b":{", b":[", b"[{", b"}]", b",}", b",]", b"true", b"false", b"null"),
    *(
        b"-1",
        b"1e5",
        b"1e999",
        b"0.5",
        b"\\u0000",
        b"\\ud800",
        b'\\"',
        b"\\\\",
        b"\xef\xbb\xbf",
        b"\x81\\",
        b"\xc2\xb0",
    ),
)

MESSAGE_WORDS = (
    *(b'"method":"login"', b'"method":"LongCon"', b'"method":"HB"', b'"method":"reqdata"', b'"method":"reqdatachange"'),
    *(b'"method":"timing"', b'"method":"writeConfig"', b'"method":"reset"', b'"method":"error"'),
    *(b'"hostid":"%s"' % HOSTID, b'"params":"', b'"params":{', b'"itime":', b'"uid":"', b'"password":"123456"'),
    *(b'"moduletype":"HGM6120N"', b'"modulePort":2', b'"moduleBaud":0', b'"hostname":"', b'"retcode":"000000"'),
    *(b'"01":[', b'"02":[', b'"03":[', b'"04":[', b'"InhbitRemote":1', b'"gpsen":', b'"lng":', b'"lat":', b'"gps":"'),
    *(b'{"0000":"E600"}', b'{"0028":"40"}', b"0103", b"0101", b"010116", b"01035A", b";"),
)

_HEAD = b'{"method":"reqdatachange","hostid":"%s","params":{"03":[' % HOSTID

LARGE_DOCUMENTS = (
    _HEAD + b'{"0000":"E600"},' * 1024 + b"]}}",  # near-JSON with as many values as are decoded
    _HEAD + b'{"0000":"E600"},' * 1900 + b"]}}",
    _HEAD + b",".join(b'{"%04X":"E600"}' % address for address in range(1900)) + b"]}}",
    b'{"method":"HB" "hostid":"%s","params":[' % HOSTID + b"1e9," * 3800 + b"]}",
    b'{"method":"HB","hostid":"' + b"\\u0041" * 10_000 + b'",}',
    b'{"method":"HB","hostid":"' + b"\xb0\xa1" * 30_000 + b'",}',
    b'{"method":"HB","hostid":"A",}' + b" " * 60_000,
    b'{"method":"reqdata","hostid":"%s","params":"' % HOSTID + b"0103;" * 12_000 + b'"}',
    b'{"method":"login","params":"{' + b'\\"a\\":1,' * 3000 + b'}"}',
    b'{"a":' * 15 + b"[" + b'"\x81\\",' * 12_000,
)
"""Documents that cost a lot, of nearly the longest length: too long for the files of the corpus."""
