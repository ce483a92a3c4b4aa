"""HTTP within limits: connections, requests, access, streaming bodies, errors as documents."""
