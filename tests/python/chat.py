"""One call of the client's service, which computes the cost itself and sends it. Prints that cost as a decimal."""

import asyncio
import json
import os
from decimal import ROUND_HALF_EVEN, Decimal

from llmring import LLMRing
from llmring.schemas import LLMRequest, Message

PICODOLLAR = Decimal("1e-12")


async def main() -> None:
    service = LLMRing(
        origin="chat",
        registry_url=os.environ["REGISTRY_URL"],
        server_url=os.environ["LLMRING_SERVER_URL"],
        api_key=os.environ["LLMRING_API_KEY"],
    )
    async with service:
        response = await service.chat(
            LLMRequest(model="openai:gpt-4o-mini", messages=[Message(role="user", content="Hello!")])
        )
        cost = await service.calculate_cost(response)
    # The decimal that JSON carries for the float.
    sent = Decimal(repr(cost["total_cost"])).quantize(PICODOLLAR, ROUND_HALF_EVEN)
    print(json.dumps({"cost": f"{sent.normalize():f}"}))


asyncio.run(main())
