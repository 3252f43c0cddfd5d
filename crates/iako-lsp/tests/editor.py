#!/usr/bin/env python3
"""A conversation with `iako lsp` by somebody else's client library.

Needs `pip install pygls`; run it with the program to ask:

    cargo build -p iako && python3 crates/iako-lsp/tests/editor.py target/debug/iako

The library checks every message against the types of the protocol, which our own client in
`conversation/` does not.
"""

import asyncio
import pathlib
import sys
import tempfile

from lsprotocol import types as lsp
from pygls.lsp.client import LanguageClient

SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {name: cart}\nspec:\n  ports: [{name: http, port: 80}]\n"
ROUTES = """apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart}
spec:
  hosts: [cart]
  http:
  - route:
    - destination:
        host: cart
      weigth: 100
"""


async def converse(program: str, folder: pathlib.Path) -> None:
    (folder / "service.yaml").write_text(SERVICE)
    (folder / "routes.yaml").write_text(ROUTES)
    uri = (folder / "routes.yaml").as_uri()
    client = LanguageClient("editor", "1")
    told: asyncio.Queue = asyncio.Queue()

    @client.feature(lsp.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)
    def published(params: lsp.PublishDiagnosticsParams) -> None:
        if params.uri == uri:
            told.put_nowait(params)

    async def findings(version: int) -> list[str]:
        while True:
            params = await asyncio.wait_for(told.get(), 20)
            if params.version == version:
                return [str(found.code) for found in params.diagnostics]

    await client.start_io(program, "lsp")
    answer = await client.initialize_async(
        lsp.InitializeParams(capabilities=lsp.ClientCapabilities(), root_uri=folder.as_uri())
    )
    assert answer.capabilities.hover_provider, answer
    client.initialized(lsp.InitializedParams())
    document = lsp.TextDocumentItem(uri=uri, language_id="yaml", version=1, text=ROUTES)
    client.text_document_did_open(lsp.DidOpenTextDocumentParams(text_document=document))
    assert "IAKO0020" in await findings(1)

    name = lsp.TextDocumentIdentifier(uri=uri)
    place = lsp.Position(line=9, character=8)
    span = lsp.Range(start=place, end=place)
    actions = await client.text_document_code_action_async(
        lsp.CodeActionParams(text_document=name, range=span, context=lsp.CodeActionContext(diagnostics=[]))
    )
    (edit,) = actions[0].edit.document_changes[0].edits
    assert edit.new_text == "weight", actions

    changed = lsp.TextDocumentContentChangePartial(range=edit.range, text=edit.new_text)
    client.text_document_did_change(
        lsp.DidChangeTextDocumentParams(
            text_document=lsp.VersionedTextDocumentIdentifier(uri=uri, version=2), content_changes=[changed]
        )
    )
    assert "IAKO0020" not in await findings(2)

    hover = await client.text_document_hover_async(lsp.HoverParams(text_document=name, position=place))
    assert "weight" in hover.contents.value, hover
    host = lsp.Position(line=8, character=16)
    completion = await client.text_document_completion_async(
        lsp.CompletionParams(text_document=name, position=host)
    )
    assert "cart" in [item.label for item in completion.items], completion
    places = await client.text_document_definition_async(
        lsp.DefinitionParams(text_document=name, position=host)
    )
    assert places[0].uri == (folder / "service.yaml").as_uri(), places
    await client.shutdown_async(None)
    client.exit(None)
    await asyncio.sleep(0)
    print("as the protocol wants it: findings, fix, edit, hover, completion, definition")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        program = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "target/debug/iako").resolve()
        asyncio.run(converse(str(program), pathlib.Path(folder).resolve()))


main()
