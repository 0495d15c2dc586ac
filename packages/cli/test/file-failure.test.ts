import assert from "node:assert/strict";
import { test } from "node:test";
import { CairnError, type ErrorCode } from "@cairn/core";
import { fileFailure } from "../src/file-failure.ts";

const systemError = (code: string) => Object.assign(new Error(code), { code });

test("every way in which a file operation fails has a code and names the file", () => {
  const expected: readonly (readonly [string, ErrorCode])[] = [
    ["ENOSPC", "storage-full"],
    ["EDQUOT", "storage-full"],
    ["EACCES", "storage-failed"],
    ["EPERM", "storage-failed"],
    ["EROFS", "storage-failed"],
    ["EIO", "storage-failed"],
    ["EEXIST", "file-exists"],
    ["ENOTEMPTY", "file-exists"],
    ["ENOENT", "file-missing"],
  ];
  for (const [code, wanted] of expected) {
    const failure = fileFailure(systemError(code), "/a/place");
    assert.ok(failure instanceof CairnError);
    assert.equal(failure.code, wanted, code);
    assert.match(failure.message, /\/a\/place/);
  }
});

test("what is no file error stays what it is", () => {
  const own = new CairnError("malformed", "no");
  const other = new TypeError("fault");
  assert.equal(fileFailure(own, "x"), own);
  assert.equal(fileFailure(other, "x"), other);
});
