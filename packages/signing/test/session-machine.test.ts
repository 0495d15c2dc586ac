import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Protocol } from "@cairn/core";
import { preimageOf, resultOf } from "./bench/session-bench.ts";
import {
  benchWithKey,
  fourSigners,
  fullWork,
  paths,
  presignedWork,
  signProposal,
  stockUp,
} from "./bench/stocked-bench.ts";

describe("a session without faults", () => {
  test("from presignatures gives every signer the same verified signatures, and all members a Finalize", async () => {
    const bench = await benchWithKey("cggmp24");
    const items = await stockUp(bench, fourSigners);
    const proposal = signProposal({ signers: fourSigners, items });
    bench.begin(proposal, (node) => presignedWork(node, items));
    await bench.run();
    const results = fourSigners.map((index) => resultOf(bench.node(index), proposal.sessionId));
    const [first] = results;
    assert.ok(first?.kind === "signatures" && first.signatures.length === paths.length);
    for (const result of results) assert.deepEqual(result, first);
    for (const [input, path] of paths.entries()) {
      const signature = first.signatures[input] ?? new Uint8Array();
      const { publicPackage, engine } = bench.node(5);
      const { preimage } = preimageOf(`payment ${input}`);
      assert.ok(await engine.verify({ publicPackage, path, preimage, signature }));
    }
    assert.deepEqual(bench.node(5).finalised[0], [...first.signatures]);
  });

  for (const protocol of ["cggmp24", "frost"] satisfies Protocol[]) {
    test(`with the full ${protocol} protocol ends the same way`, async () => {
      const bench = await benchWithKey(protocol);
      const proposal = signProposal({ signers: fourSigners, initiator: 3 });
      bench.begin(proposal, (node) => fullWork(node, protocol, fourSigners));
      await bench.run();
      const first = resultOf(bench.node(1), proposal.sessionId);
      assert.ok(first?.kind === "signatures");
      for (const index of fourSigners)
        assert.deepEqual(resultOf(bench.node(index), proposal.sessionId), first);
      const { publicPackage, engine } = bench.node(5);
      for (const [input, path] of paths.entries()) {
        const signature = first.signatures[input] ?? new Uint8Array();
        const { preimage } = preimageOf(`payment ${input}`);
        assert.ok(await engine.verify({ publicPackage, path, preimage, signature }));
      }
    });
  }
});
