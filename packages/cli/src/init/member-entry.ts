import { memberSchema } from "@cairn/core";
import type { z } from "zod";

/** What an operator hands to whoever draws up the manifest: the public half of a node, and how to reach it. JSON. */
export const memberEntrySchema = memberSchema.omit({ index: true });
export type MemberEntry = z.output<typeof memberEntrySchema>;
