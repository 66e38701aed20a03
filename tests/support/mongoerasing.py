"""People in the stand-in of mongod, and the pod beside it that erases one of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from databosun.api.lifecycle import ActionType, MaskMethod, MaskOrder, RuleOrder
from databosun.api.targets import DatabaseTarget
from databosun.engines.mongodb import ENGINE
from support.erasing import ERASER, PEOPLE, SUBJECT, Forgetter, rule
from support.mongoserver import PASSWORD, Client, MongoServer

LEFT = {"customers": 500, "orders": 900, "letters": 402, "hers": 0}


def populate(server: MongoServer) -> None:
    """The database anew: documents with the address as a field, within another, and with what is to stay."""
    people = server.client[PEOPLE]
    server.client.drop_database(PEOPLE)
    people.customers.insert_many({"_id": n, "email": f"person{n}@example.org", "name": f"P {n}"} for n in range(500))
    people.customers.insert_one({"_id": 1815, "email": SUBJECT, "name": "Ada"})
    people.orders.insert_many({"_id": n, "by": {"email": f"person{n % 500}@example.org"}} for n in range(900))
    people.orders.insert_many({"_id": 10_000 + n, "by": {"email": SUBJECT}, "note": "hers"} for n in range(7))
    people.letters.insert_many({"_id": n, "email": f"person{n}@example.org", "body": "b"} for n in range(400))
    people.letters.insert_many({"_id": 1815 + n, "email": SUBJECT, "body": "dear Ada"} for n in range(2))
    if not server.client.admin.command("usersInfo", ERASER)["users"]:
        server.client.admin.command("createUser", ERASER, pwd=PASSWORD, roles=[])


def counts(client: Client) -> dict[str, int]:
    """Documents of every collection, and those with the person (`hers`)."""
    people = client[PEOPLE]
    found = {name: people[name].count_documents({}) for name in ("customers", "orders", "letters")}
    hers = (
        people.customers.count_documents({"email": SUBJECT}),
        people.orders.count_documents({"$or": [{"by.email": SUBJECT}, {"note": "hers"}]}),
        people.letters.count_documents({"$or": [{"email": SUBJECT}, {"body": "dear Ada"}]}),
    )
    return {**found, "hers": sum(hers)}


@dataclass
class MongoForgetter(Forgetter):
    """Of MongoDB."""

    engine = ENGINE  # type: ignore[assignment]
    login = (ERASER, PASSWORD)

    @property
    def client(self) -> Client:
        """The tests' own session."""
        found: Client = self.yard.its.client
        return found

    @property
    def database(self) -> DatabaseTarget:
        """How the agent reaches it."""
        found: DatabaseTarget = self.yard.database()
        return found.model_copy(update={"database": PEOPLE})

    def everywhere(self) -> list[RuleOrder]:
        """All of the collections."""
        masks = [
            MaskOrder(column="email", method=MaskMethod.FIXED, value="erased@example.invalid"),
            MaskOrder(column="body", method=MaskMethod.NULL),
        ]
        return [
            rule("customers", "customers", "email"),
            rule("orders", f"{PEOPLE}.orders", "by.email"),
            rule("letters", "letters", "email", action=ActionType.ANONYMIZE, masks=masks),
        ]

    def counts(self, server: Any = None, dbname: str = PEOPLE) -> dict[str, int]:
        """Documents of every collection, and those with the person."""
        assert (server, dbname) == (None, PEOPLE)
        return counts(self.client)
