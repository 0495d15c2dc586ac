import type { Contract, Route, RouteName } from "@cairn/client";
import type { z } from "zod";
import type { Prepare } from "./idempotency-desk.ts";

type PartOf<R extends Route, Part extends "params" | "query" | "body"> = R extends {
  readonly [K in Part]: infer S extends z.ZodType;
}
  ? { readonly [K in Part]: z.output<S> }
  : object;

/** The validated parts of a request to `Name`. */
export type HandlerInput<Name extends RouteName> = PartOf<Contract[Name], "params"> &
  PartOf<Contract[Name], "query"> &
  PartOf<Contract[Name], "body"> &
  (Contract[Name] extends { readonly idempotent: true } ? { readonly prepare: Prepare } : object);

/** Answers one endpoint; what it returns is validated by the contract before it leaves. @throws CairnError */
export type Handler<Name extends RouteName> = (
  input: HandlerInput<Name>,
) => Promise<
  | z.input<Contract[Name]["response"]>
  | (Contract[Name] extends { readonly waiting: infer S extends z.ZodType } ? z.input<S> : never)
>;

export type Handlers = { readonly [Name in RouteName]: Handler<Name> };
