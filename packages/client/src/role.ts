import { z } from "zod";

/** What a bearer token may do; each role may do all that the one before it may. */
export const roles = ["viewer", "spender", "operator", "admin"] as const;
export const roleSchema = z.enum(roles);
export type Role = (typeof roles)[number];

/** Whether `held` covers `needed`. */
export function roleCovers(held: Role, needed: Role): boolean {
  return roles.indexOf(held) >= roles.indexOf(needed);
}
