import { type Clock, unixMsSchema } from "@cairn/core";

/** A clock that stands still until it is told to go. */
export class FixedClock implements Pick<Clock, "now"> {
  seconds = 1_750_000_000;

  now() {
    return unixMsSchema.parse(this.seconds * 1000);
  }
}
