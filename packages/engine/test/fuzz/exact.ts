import type { Decoder } from "@cairn/core/test-support";

/** A decoder of what is sealed or signed as a whole: besides the sample, it takes nothing. */
export function exact(
  name: string,
  sample: Uint8Array,
  open: (input: Uint8Array) => Promise<boolean>,
): Decoder {
  return {
    name,
    samples: [sample],
    decode: async (input) => ((await open(input)) ? sample : input),
    encode: (only) => only,
  };
}
