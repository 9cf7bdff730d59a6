"""A stand-in for flext-auth: several tenants, RS256 tokens, validation, logout."""

import json
import math
import secrets
import threading
import time
import uuid
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from .clock import rfc3339
from .server import Server

ISSUER = "flexcore-auth"


class TokenError(Exception):
    """The request carries no valid token; the message says why."""


@dataclass(frozen=True)
class _Token:
    session: str
    expires: float


Profile = dict[str, Any]


def _tenant(number: int, name: str, plan: str, limits: tuple[int, int, int]) -> Profile:
    return {
        "id": f"tenant-{number}",
        "name": name,
        "domain": f"{plan}.flexcore.com",
        "settings": {"theme": "dark", "timezone": "UTC"},
        "active": True,
        "subscription": plan,
        "limits": dict(
            zip(("max_users", "max_api_requests", "max_storage_gb"), limits, strict=True)
        ),
    }


def _user(
    number: int, tenant: Profile, username: str, permissions: list[str], department: str
) -> Profile:
    return {
        "id": f"user-{number}",
        "tenant_id": tenant["id"],
        "username": username,
        "email": f"{username}@{tenant['domain']}",
        "password_hash": "$2a$10$"
        + "devstack." * 5
        + "devstack",  # looks like bcrypt, is the hash of nothing
        "roles": [f"{username}-role"],
        "permissions": permissions,
        "metadata": {"department": department, "location": "HQ"},
        "active": True,
    }


_ENTERPRISE = _tenant(1, "FlexCore Enterprise", "enterprise", (1000, 100_000, 1000))
_STARTER = _tenant(2, "FlexCore Starter", "starter", (10, 1000, 10))
_ADMIN = _user(1, _ENTERPRISE, "admin", ["*"], "IT")
_OPERATOR = _user(2, _STARTER, "operator", ["plugins:execute", "plugins:read"], "Operations")
TENANTS = {tenant["id"]: tenant for tenant in (_ENTERPRISE, _STARTER)}
# (tenant, username, password) -> the user who logs in with them
USERS = {
    ("tenant-1", "admin", "flexcore100"): _ADMIN,
    ("tenant-2", "operator", "flexcore200"): _OPERATOR,
}


class FlextAuth(Server):
    """A flext-auth server; `token_lifetime`, in seconds, applies to tokens issued from now on."""

    def __init__(
        self, port: int = 0, token_lifetime: float = 3600.0, default_tenant: str | None = None
    ) -> None:
        if default_tenant is not None and default_tenant not in TENANTS:
            raise ValueError(f"no tenant {default_tenant!r}; there are {', '.join(TENANTS)}")
        app = Starlette(
            routes=[
                Route("/health", self._health, methods=["GET"]),
                Route("/auth/login", self._login, methods=["POST"]),
                Route("/auth/refresh", self._refresh, methods=["POST"]),
                Route("/auth/logout", self._logout, methods=["POST"]),
                Route("/auth/validate", self._validate, methods=["GET"]),
            ],
            exception_handlers={HTTPException: _no_such_route, TokenError: _unauthorized},
        )
        super().__init__("flext-auth", app, port)
        self.token_lifetime = token_lifetime
        self.default_tenant = default_tenant
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._start_time = rfc3339()
        self._state = threading.Lock()
        self._logins = 0
        self._tokens: dict[str, _Token] = {}  # by jti
        self._blacklist: set[str] = set()  # of jti
        self._refreshable: dict[str, tuple[str, Profile]] = {}  # refresh token -> session, user

    @property
    def logins(self) -> int:
        """The number of successful logins."""
        return self._logins

    @property
    def public_key(self) -> str:
        """The key that verifies tokens, as PEM; each Devstack has its own."""
        encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        return self._key.public_key().public_bytes(encoding, form).decode()

    def revoke_all(self) -> None:
        """Refuse every token issued so far, refresh tokens too."""
        with self._state:
            self._blacklist.update(self._tokens)
            self._refreshable.clear()

    def authenticate(self, authorization: str | None) -> dict[str, Any]:
        """Return the claims of the token in an `Authorization` value.

        Raises:
            TokenError: it is missing, malformed, not signed here, expired, logged out or revoked.
        """
        if not authorization:
            raise TokenError("Authorization header required")
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise TokenError("Invalid authorization header")
        try:
            claims = jwt.decode(
                token.strip(),
                self._key.public_key(),
                ["RS256"],
                audience=list(TENANTS),
                issuer=ISSUER,
            )
        except jwt.ExpiredSignatureError:
            raise TokenError("token is expired") from None
        except jwt.InvalidTokenError:
            raise TokenError("invalid token") from None
        with self._state:
            if claims["jti"] in self._blacklist:
                raise TokenError("token is blacklisted")
            # The claim `exp` is in whole seconds, lifetimes need not be.
            if self._tokens[claims["jti"]].expires <= time.time():
                raise TokenError("token is expired")
        return claims

    async def _health(self, _: Request) -> Response:
        now = time.time()
        with self._state:
            live = {
                token.session
                for jti, token in self._tokens.items()
                if jti not in self._blacklist and token.expires > now
            }
            blacklisted = len(self._blacklist)
        return JSONResponse(
            {
                "active_sessions": len(live),
                "blacklisted_tokens": blacklisted,
                "service": "flexcore-multi-tenant-auth",
                "status": "healthy",
                "tenants": len(TENANTS),
                "timestamp": rfc3339(),
                "users": len(USERS),
            }
        )

    async def _login(self, request: Request) -> Response:
        body = await _json_object(request)
        tenant_id = str(body.get("tenant_id") or self.default_tenant)
        if tenant_id not in TENANTS:
            return PlainTextResponse("Tenant not found or inactive\n", 401)
        user = USERS.get((tenant_id, str(body.get("username")), str(body.get("password"))))
        if user is None:
            return PlainTextResponse("Invalid credentials\n", 401)
        answer = self._issue(user, uuid.uuid4().hex)
        with self._state:
            self._logins += 1
        return JSONResponse(answer)

    async def _refresh(self, request: Request) -> Response:
        refresh_token = (await _json_object(request)).get("refresh_token")
        with self._state:
            session, user = self._refreshable.pop(str(refresh_token), (None, None))
        if session is None or user is None:
            return PlainTextResponse("Invalid refresh token\n", 401)
        return JSONResponse(self._issue(user, session))

    async def _logout(self, request: Request) -> Response:
        claims = self.authenticate(request.headers.get("authorization"))
        with self._state:
            session = self._tokens[claims["jti"]].session
            self._blacklist.update(
                jti for jti, token in self._tokens.items() if token.session == session
            )
            self._refreshable = {
                key: value for key, value in self._refreshable.items() if value[0] != session
            }
        return JSONResponse({"message": "Logged out successfully", "success": True})

    async def _validate(self, request: Request) -> Response:
        claims = self.authenticate(request.headers.get("authorization"))
        return JSONResponse(
            {
                "claims": claims,
                "permissions": claims["permissions"],
                "tenant_id": claims["tenant_id"],
                "user_id": claims["user_id"],
                "valid": True,
            }
        )

    def _issue(self, user: Profile, session: str) -> dict[str, Any]:
        now, lifetime, tenant = time.time(), float(self.token_lifetime), TENANTS[user["tenant_id"]]
        jti, refresh_token = str(uuid.uuid4()), secrets.token_urlsafe(32)
        claims = {
            "user_id": user["id"],
            **{
                key: user[key] for key in ("tenant_id", "username", "email", "roles", "permissions")
            },
            "tenant_limits": tenant["limits"],
            "metadata": user["metadata"],
            "iss": ISSUER,
            "sub": user["id"],
            "aud": [tenant["id"]],
            "exp": math.ceil(now + lifetime),
            "nbf": int(now),
            "iat": int(now),
            "jti": jti,
        }
        token = jwt.encode(claims, self._key, "RS256")
        with self._state:
            self._tokens[jti] = _Token(session, now + lifetime)
            self._refreshable[refresh_token] = (session, user)
        times = {"created_at": self._start_time, "updated_at": self._start_time}
        return {
            "token": token,
            "expires_at": rfc3339(now + lifetime),
            "tenant": {**tenant, **times},
            "user": {**user, **times, "last_login": rfc3339(now)},
            "access_token": token,
            "refresh_token": refresh_token,
            "expires_in": int(lifetime) if lifetime.is_integer() else lifetime,
            "token_type": "Bearer",
        }


async def _json_object(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.body())
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise HTTPException(400, "Invalid request body")
    return body


async def _unauthorized(_: Request, error: Exception) -> Response:
    return PlainTextResponse(f"{error}\n", 401)


async def _no_such_route(_: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 500)
    text = "404 page not found" if status == 404 else getattr(error, "detail", "")
    return PlainTextResponse(f"{text}\n", status)
