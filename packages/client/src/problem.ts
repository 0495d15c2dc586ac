import { type ErrorCode, errorCodes } from "@cairn/core";
import { z } from "zod";

const codes = Object.keys(errorCodes) as [ErrorCode, ...ErrorCode[]];

/** RFC 9457 problem details, the body of every answer that is no success. */
export const problemSchema = z.object({
  type: z.string().meta({ description: "`urn:cairn:error:<code>`" }),
  title: z.string(),
  status: z.number().int(),
  detail: z.string().meta({ description: "What is wrong and how to mend it" }),
  instance: z.string().meta({ description: "Id of the request, as in the request log" }),
  code: z.enum(codes),
  data: z.record(z.string(), z.unknown()),
});
export type Problem = z.output<typeof problemSchema>;
