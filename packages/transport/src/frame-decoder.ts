import { CairnError } from "@cairn/core";

/** Bytes of the length before each frame: u32, big-endian. */
export const FRAME_HEADER_BYTES = 4;

/**
 * Cuts a byte stream into frames, whatever its chunks are. A frame that says to be larger than the limit is refused when its header is
 * there, before any of it is kept.
 */
export class FrameDecoder {
  #limit: number;
  #chunks: Uint8Array[] = [];
  #buffered = 0;
  /** Length of the frame whose header has been read, or null. */
  #expected: number | null = null;
  #failed: CairnError | null = null;

  /** @param limit largest frame, in bytes without its header */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Changes the limit for frames whose header was not read yet. */
  set limit(limit: number) {
    this.#limit = limit;
  }

  /**
   * Frames that are complete with `chunk`. They do not share memory with it.
   * @throws CairnError `too-large`; the decoder then stays failed, since the stream's place is lost
   */
  *push(chunk: Uint8Array): Generator<Uint8Array> {
    if (this.#failed !== null) throw this.#failed;
    if (chunk.length > 0) {
      this.#chunks.push(chunk);
      this.#buffered += chunk.length;
    }
    for (;;) {
      if (this.#expected === null) {
        if (this.#buffered < FRAME_HEADER_BYTES) return;
        const header = this.#take(FRAME_HEADER_BYTES);
        const length = new DataView(header.buffer, header.byteOffset).getUint32(0);
        if (length > this.#limit) {
          this.#chunks = [];
          this.#failed = new CairnError("too-large", "the peer announced a frame larger than the limit", {
            bytes: length,
            limit: this.#limit,
          });
          throw this.#failed;
        }
        this.#expected = length;
      }
      if (this.#buffered < this.#expected) return;
      const frame = this.#take(this.#expected);
      this.#expected = null;
      yield frame;
    }
  }

  #take(length: number): Uint8Array {
    const taken = new Uint8Array(length);
    let filled = 0;
    let used = 0;
    for (const chunk of this.#chunks) {
      if (filled === length) break;
      const part = chunk.subarray(0, length - filled);
      taken.set(part, filled);
      filled += part.length;
      if (part.length < chunk.length) {
        this.#chunks[used] = chunk.subarray(part.length);
        break;
      }
      used++;
    }
    this.#chunks.splice(0, used);
    this.#buffered -= length;
    return taken;
  }
}
