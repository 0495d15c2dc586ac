import { type ClusterPlan, type Limits, planCluster } from "./cluster-plan.ts";
import { type Provision, provision } from "./provision.ts";
import { type Outcome, type RunModules, runScenario } from "./run-scenario.ts";
import { type Scenario, scenarioOf } from "./scenario.ts";

interface Ground {
  readonly plan: ClusterPlan;
  readonly provision: Provision;
}

const grounds = new Map<string, Promise<Ground>>();

/** A cluster under these limits that has its keys, made once a process: it does not depend on the seed. */
export function groundOf(limits: Limits): Promise<Ground> {
  const key = JSON.stringify(limits, (_, value: unknown) =>
    typeof value === "bigint" ? String(value) : value,
  );
  const known = grounds.get(key);
  if (known !== undefined) return known;
  const plan = planCluster(limits);
  const made = provision(plan, ["frost", "cggmp24"]).then((ready) => ({ plan, provision: ready }));
  grounds.set(key, made);
  return made;
}

/** Plays one scenario over the ground that it asks for. */
export async function simulate(
  scenario: Scenario,
  modules: Pick<RunModules, "sabotage" | "invariants"> = {},
): Promise<Outcome> {
  const { plan, provision: ready } = await groundOf(scenario.limits);
  return runScenario(scenario, { plan, provision: scenario.keys ? ready : null, ...modules });
}

export function simulateSeed(seed: number): Promise<Outcome> {
  return simulate(scenarioOf(seed));
}
