"""Starts an MCP server over stdio, lists its tools, calls one, and prints what it saw as one JSON object.

Usage: mcp_ask.py PROGRAM TOOL ARGUMENTS
"""

import asyncio
import json
import os
import sys

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client


async def main(program: str, tool: str, arguments: str) -> None:
    parameters = StdioServerParameters(command=program, args=["serve"], env=dict(os.environ))
    async with stdio_client(parameters) as (read, write), ClientSession(read, write) as session:
        begun = await session.initialize()
        listed = await session.list_tools()
        asked = await session.call_tool(tool, json.loads(arguments))
        unknown = await session.call_tool(tool, {"no_such_argument": 1})
        seen = {
            "server": begun.serverInfo.name,
            "protocol": begun.protocolVersion,
            "tools": [one.name for one in listed.tools],
            "is_error": asked.isError,
            "answer": asked.structuredContent,
            "text": json.loads(asked.content[0].text),
            "refused": unknown.isError,
        }
    print(json.dumps(seen))


asyncio.run(main(*sys.argv[1:]))
