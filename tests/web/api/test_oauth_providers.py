"""Custom providers: administered, used, discovered."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa

from knight_tw.storage import schema
from tests.web.api.external import OAuthCase
from tests.web.api.shapes import misfit
from tests.web.gateway import Answer

PATH = "/api/custom-oauth-provider/"
COMPANY = {
    "name": "Company",
    "slug": "company",
    "enabled": True,
    "client_id": "cid",
    "client_secret": "example-secret",
    "authorization_endpoint": "https://id.example.com/a",
    "token_endpoint": "https://id.example.com/t",
    "user_info_endpoint": "https://id.example.com/u",
}
SHAPE = {
    **dict.fromkeys(("id", "auth_style"), int),
    **dict.fromkeys(("name", "slug", "icon", "client_id", "scopes"), str),
    "enabled": bool,
    "authorization_endpoint": str,
    "token_endpoint": str,
    "user_info_endpoint": str,
    "user_id_field": str,
    "username_field": str,
    "display_name_field": str,
    "email_field": str,
    "well_known": str,
    "access_policy": str,
    "access_denied_message": str,
}
STAFF = {"conditions": [{"field": "role", "op": "eq", "value": "staff"}]}


class CustomCase(OAuthCase):
    """A gateway, and root."""

    def setUp(self) -> None:
        """Root logs in."""
        super().setUp()
        self.root = self.gateway.bearer("root")

    def create(self, **members: Any) -> Answer:
        """The answer to a new provider."""
        return self.root.post(PATH, {**COMPANY, **members})

    def stored(self) -> dict[str, Any]:
        """The only row."""
        (row,) = self.gateway.rows(sa.select(schema.custom_oauth_providers))
        return row


class Administration(CustomCase):
    """The routes that root has."""

    def test_create(self) -> None:
        """The answer has the reference's shape and no secret."""
        answer = self.create()
        self.assertEqual(misfit(answer.data, SHAPE), "")
        self.assertEqual(answer.data["scopes"], "openid profile email")
        self.assertEqual(answer.data["user_id_field"], "sub")
        self.assertNotIn(b"example-secret", answer.body)
        self.assertEqual(self.stored()["client_secret"], "example-secret")
        self.assertNotIn("example-secret", str(self.gateway.notes))
        op = self.gateway.notes[-1]["other"]["op"]
        self.assertEqual(op["action"], "oauth_provider.create")

    def test_read(self) -> None:
        """List and single read show the same; what is not there is not found."""
        self.assertEqual(self.root.get(PATH).data, [])
        made = self.create().data
        self.assertEqual(self.root.get(PATH).data, [made])
        self.assertEqual(self.root.get(f"{PATH}{made['id']}").data, made)
        answer = self.root.get(f"{PATH}999999")
        self.assertEqual((answer.status, answer.code), (200, "not_found"))

    def test_update(self) -> None:
        """What the body has is changed; the secret stays unless a new one comes."""
        made = self.create().data
        path = f"{PATH}{made['id']}"
        changed = self.root.put(path, {"name": "Renamed", "client_secret": ""})
        self.assertEqual(changed.data, {**made, "name": "Renamed"})
        self.assertEqual(self.stored()["client_secret"], "example-secret")
        self.root.put(path, {"client_secret": "another", "scopes": ""})
        self.assertEqual(self.stored()["client_secret"], "another")
        self.assertEqual(self.stored()["scopes"], "openid profile email")
        self.assertEqual(self.root.put(f"{PATH}99", {}).code, "not_found")
        self.assertEqual(self.root.put(path, {"name": ""}).code, "missing_field")

    def test_delete(self) -> None:
        """The bindings go with the provider; a second time there is nothing."""
        made = self.create().data
        self.gateway.execute(
            sa.insert(schema.user_oauth_bindings).values(
                user_id=1, provider_id=made["id"], provider_user_id="5"
            )
        )
        answer = self.root.delete(f"{PATH}{made['id']}")
        self.assertEqual(answer.json, {"success": True, "message": "deleted"})
        left = self.gateway.rows(sa.select(schema.user_oauth_bindings))
        self.assertEqual(left, [])
        self.assertEqual(self.gateway.notes[-1]["other"]["op"]["params"]["unbound"], 1)
        self.assertEqual(self.root.delete(f"{PATH}{made['id']}").code, "not_found")

    def test_refused(self) -> None:
        """What cannot be a provider is refused, and nothing is stored."""
        for members, code in (
            ({"slug": "github"}, "already_exists"),
            ({"slug": "telegram"}, "already_exists"),
            ({"slug": "state"}, "already_exists"),
            ({"slug": "Bad Slug"}, "invalid_field"),
            ({"slug": "x" * 65}, "invalid_field"),
            ({"slug": ""}, "missing_field"),
            ({"name": None}, "missing_field"),
            ({"client_secret": ""}, "missing_field"),
            ({"token_endpoint": "ftp://id.example.com"}, "invalid_field"),
            ({"token_endpoint": "https://a:b@id.example.com"}, "invalid_field"),
            ({"user_info_endpoint": "https://"}, "invalid_field"),
            ({"authorization_endpoint": "javascript:alert(1)"}, "invalid_field"),
            ({"well_known": "x"}, "invalid_field"),
            ({"auth_style": 3}, "invalid_field"),
            ({"enabled": "maybe"}, "invalid_field"),
            ({"access_policy": "{}"}, "invalid_field"),
            ({"access_policy": {"conditions": []}}, "invalid_field"),
            ({"name": "x" * 65}, "invalid_field"),
        ):
            self.assertEqual(self.create(**members).code, code, members)
        self.assertEqual(self.root.get(PATH).data, [])

    def test_slug_taken(self) -> None:
        """Two providers cannot have one slug."""
        self.create()
        self.assertEqual(self.create(name="Other").code, "already_exists")
        other = self.create(slug="other").data["id"]
        answer = self.root.put(f"{PATH}{other}", {"slug": "company"})
        self.assertEqual(answer.code, "already_exists")

    def test_roots_only(self) -> None:
        """Administrators neither see nor touch them."""
        self.gateway.add_user("boss", 10)
        boss = self.gateway.bearer("boss")
        for method, path in (
            ("GET", PATH),
            ("POST", PATH),
            ("GET", f"{PATH}1"),
            ("PUT", f"{PATH}1"),
            ("DELETE", f"{PATH}1"),
            ("POST", f"{PATH}discovery"),
        ):
            self.assertEqual(boss.ask(method, path, {}).status, 403, path)

    def test_status(self) -> None:
        """Everybody sees how to begin, and no more."""
        self.create()
        self.create(slug="off", enabled=False)
        (shown,) = self.gateway.ask("GET", "/api/status").data["custom_oauth_providers"]
        self.assertEqual(
            set(shown),
            {
                *("id", "name", "slug", "icon", "client_id"),
                *("authorization_endpoint", "scopes"),
            },
        )


class Logins(CustomCase):
    """Logging in with a custom provider."""

    def setUp(self) -> None:
        """Its addresses answer."""
        super().setUp()
        self.gateway.providers.places["company"] = (
            "https://id.example.com/t",
            "https://id.example.com/u",
        )

    def test_login(self) -> None:
        """The account is bound by the provider's row, and the next login finds it."""
        self.create()
        person = {"sub": "u-1", "preferred_username": "ida", "name": "Ida"}
        answer = self.gateway.come("company", person)
        self.assertEqual(answer.data["username"], "ida")
        self.assertEqual(answer.data["session"]["login_method"], "company")
        again = self.gateway.come("company", {"sub": "u-1"})
        self.assertEqual(again.data["id"], answer.data["id"])
        token = self.gateway.providers.sent[0]
        self.assertEqual(token.form["client_secret"], "example-secret")
        self.assertEqual(
            token.form["redirect_uri"], "http://gateway.example/oauth/company"
        )
        self.assertTrue(token.options["guarded"])

    def test_basic(self) -> None:
        """Style 2 puts the client into the header."""
        self.create(auth_style=2)
        self.gateway.come("company", {"sub": "1"})
        token = self.gateway.providers.sent[0]
        self.assertTrue(token.headers["Authorization"].startswith("Basic "))
        self.assertNotIn("client_secret", token.form)

    def test_paths(self) -> None:
        """Fields are found at dotted paths."""
        self.create(
            user_id_field="data.id",
            username_field="data.names.0",
            display_name_field="data.full",
            email_field="data.mail",
        )
        person = {
            "data": {
                "id": 12,
                "names": ["zoe"],
                "full": "Zoe Z.",
                "mail": "Z@example.com",
            }
        }
        data = self.gateway.come("company", person).data
        self.assertEqual((data["username"], data["display_name"]), ("zoe", "Zoe Z."))
        self.assertEqual(data["user"]["email"], "z@example.com")
        rows = self.gateway.rows(sa.select(schema.user_oauth_bindings))
        self.assertEqual([row["provider_user_id"] for row in rows], ["12"])

    def test_numbered_name(self) -> None:
        """Without a name the slug, shortened, begins one."""
        self.create()
        name = self.gateway.come("company", {"sub": "1"}).data["username"]
        self.assertEqual(name, "company_2")

    def test_policy(self) -> None:
        """A policy keeps people out in the administrator's words."""
        self.create(
            access_policy=STAFF,
            access_denied_message="{{provider}}: {{current.dept}} is not {{required}}",
        )
        self.assertEqual(json.loads(self.stored()["access_policy"]), STAFF)
        answer = self.gateway.come("company", {"sub": "1", "dept": "sales"})
        self.assertEqual(answer.code, "login_closed")
        self.assertEqual(answer.json["message"], "Company: sales is not staff")
        self.assertTrue(
            self.gateway.come("company", {"sub": "1", "role": "staff"}).data
        )

    def test_unreadable_policy(self) -> None:
        """A policy that was written past us lets nobody in."""
        self.create()
        self.gateway.execute(
            sa.update(schema.custom_oauth_providers).values(access_policy="{broken")
        )
        answer = self.gateway.come("company", {"sub": "1"})
        self.assertEqual(answer.code, "login_closed")

    def test_off(self) -> None:
        """A provider that is off lets nobody in."""
        self.create(enabled=False)
        answer = self.gateway.come("company", {"sub": "1"})
        self.assertEqual(answer.code, "login_closed")

    def test_guarded(self) -> None:
        """An address inside the network is not asked unless the guard allows it."""
        self.create()
        self.gateway.providers.refused.add(COMPANY["token_endpoint"])
        answer = self.gateway.come("company", {"sub": "1"})
        self.assertEqual(answer.code, "upstream_failed")
        self.assertNotIn("inside", answer.json["message"])

    def test_bind(self) -> None:
        """A bound company account is listed and opens the account."""
        made = self.create().data
        ann = self.gateway.add_user("ann")
        client = self.gateway.bearer("ann")
        self.gateway.providers.knows("company", "right", {"sub": "9"})
        state, _ = self.gateway.begin("company", client.headers, intent="bind")
        answer = self.gateway.back("company", "right", state, client.headers)
        self.assertEqual(answer.json["message"], "bind")
        (shown,) = client.get("/api/user/oauth/bindings").data
        self.assertEqual(shown["provider_id"], made["id"])
        self.assertEqual(self.gateway.come("company", {"sub": "9"}).data["id"], ann)


DOCUMENT = {
    "issuer": "https://id.example.com",
    "authorization_endpoint": "https://id.example.com/authorize",
    "token_endpoint": "https://id.example.com/token",
    "userinfo_endpoint": "https://id.example.com/userinfo",
}
WELL_KNOWN = "https://id.example.com/.well-known/openid-configuration"


class Discovery(CustomCase):
    """Reading discovery documents."""

    def setUp(self) -> None:
        """The document is there."""
        super().setUp()
        self.gateway.providers.answers[WELL_KNOWN] = (200, DOCUMENT)

    def discover(self, **body: str) -> Answer:
        """The answer of the route."""
        return self.root.post(f"{PATH}discovery", body)

    def test_forms(self) -> None:
        """By the document's address or by the issuer."""
        for body in (
            {"well_known_url": WELL_KNOWN},
            {"issuer_url": "https://id.example.com/"},
        ):
            answer = self.discover(**body)
            self.assertEqual(
                answer.data, {"well_known_url": WELL_KNOWN, "discovery": DOCUMENT}
            )
        self.assertTrue(all(o.options["guarded"] for o in self.gateway.providers.sent))

    def test_refused(self) -> None:
        """No address, none of HTTP, one inside, one that does not answer."""
        self.assertEqual(self.discover(well_known_url="").code, "missing_field")
        self.assertEqual(
            self.discover(well_known_url="file:///etc").code, "invalid_field"
        )
        self.gateway.providers.refused.add(WELL_KNOWN)
        answer = self.discover(well_known_url=WELL_KNOWN)
        self.assertEqual((answer.status, answer.code), (200, "address_refused"))
        answer = self.discover(issuer_url="https://no.example.com")
        self.assertEqual((answer.status, answer.code), (200, "upstream_failed"))

    def option(self, key: str, value: str) -> Answer:
        """The answer to a write of an option."""
        return self.root.put("/api/option/", {"key": key, "value": value})

    def endpoints(self) -> list[str]:
        """The three options that a document fills."""
        names = ("authorization_endpoint", "token_endpoint", "user_info_endpoint")
        return [self.gateway.options.text(f"oidc.{name}") for name in names]

    def test_option(self) -> None:
        """Saving the document's address fills the endpoints."""
        self.assertEqual(self.option("oidc.well_known", WELL_KNOWN).json["message"], "")
        self.assertEqual(self.gateway.options.text("oidc.well_known"), WELL_KNOWN)
        self.assertEqual(
            self.endpoints(),
            [
                DOCUMENT["authorization_endpoint"],
                DOCUMENT["token_endpoint"],
                DOCUMENT["userinfo_endpoint"],
            ],
        )

    def test_option_cleared(self) -> None:
        """An emptied address is stored, and nothing is read."""
        self.assertTrue(self.option("oidc.well_known", "").json["success"])
        self.assertEqual(self.gateway.providers.sent, [])

    def test_option_refused(self) -> None:
        """A document that cannot be read, or lacks an endpoint, changes nothing."""
        before = self.endpoints()
        for url, code in (
            ("https://no.example.com/x", "upstream_failed"),
            ("nonsense", "invalid_field"),
            ("https://half.example.com/x", "upstream_failed"),
        ):
            half = {**DOCUMENT, "token_endpoint": "javascript:1"}
            self.gateway.providers.answers["https://half.example.com/x"] = (200, half)
            self.assertEqual(self.option("oidc.well_known", url).code, code, url)
        self.assertEqual(self.gateway.options.text("oidc.well_known"), "")
        self.assertEqual(self.endpoints(), before)

    def test_batch(self) -> None:
        """What a batch says itself is not overwritten."""
        changes = [
            {"key": "oidc.well_known", "value": WELL_KNOWN},
            {"key": "oidc.token_endpoint", "value": "https://inside.example/t"},
        ]
        answer = self.root.put("/api/option/batch", {"changes": changes})
        self.assertTrue(answer.json["success"])
        self.assertEqual(self.endpoints()[1], "https://inside.example/t")
        self.assertEqual(self.endpoints()[2], DOCUMENT["userinfo_endpoint"])
