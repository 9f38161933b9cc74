"""redis-py's client of a Cluster, whose looks at the topology end nobody's connection.

Left alone it sends its first commands to any node, because it does not know the cluster yet, and
after five redirections closes every connection under those who use them; what they then get makes
it close them again. Here it looks before it asks, is redirected as often as need be, and whatever
it takes for a reason to close everything is a reason to look again at the next command.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode


class Cluster(RedisCluster):
    """``aclose`` does not close it, redis-py calls that in mid-use: ``end`` does."""

    def __init__(self, nodes: tuple[tuple[str, int], ...], **options: Any) -> None:
        super().__init__(
            startup_nodes=[ClusterNode(host, port) for host, port in nodes],
            require_full_coverage=False,
            reinitialize_steps=0,
            **options,
        )
        self._one_looks = asyncio.Lock()
        self._knows_commands = False

    async def initialize(self, *args: Any, **hints: Any) -> Cluster:
        """Learn which node has what, unless that is known."""
        if self._initialize:
            async with self._one_looks:
                if self._initialize:
                    await self._look(*args, **hints)
        return self

    async def look(self) -> None:
        """Learn anew which node has what, from any that answers; else raise."""
        async with self._one_looks:
            await self._look()

    async def _look(self, *args: Any, **hints: Any) -> None:
        await self.nodes_manager.initialize(*args, **hints)
        if not self._knows_commands:
            await self.commands_parser.initialize(self.nodes_manager.default_node)
            self._knows_commands = True
        self._initialize = False

    async def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        await self.initialize()
        return await super().execute_command(*args, **kwargs)

    async def aclose(self) -> None:
        self._initialize = True

    async def end(self) -> None:
        self._initialize = True
        manager = self.nodes_manager
        nodes = {id(one): one for one in (*manager.nodes_cache.values(), *self.startup_nodes)}
        nodes |= {id(one): one for one in manager.startup_nodes.values()}
        await asyncio.gather(*(one.disconnect() for one in nodes.values()), return_exceptions=True)

    async def any_primary(self, **options: Any) -> Redis:
        """A client of one node alone."""
        await self.initialize()
        node = random.choice(self.get_primaries())  # noqa: S311
        return Redis(host=node.host, port=int(node.port), **options)
