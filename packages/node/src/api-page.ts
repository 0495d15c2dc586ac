import { createHash } from "node:crypto";
import { z } from "zod";

const schemaShape = z.record(z.string(), z.unknown());
const contentShape = z.record(z.string(), z.object({ schema: schemaShape })).default({});
const operationShape = z.object({
  operationId: z.string(),
  summary: z.string(),
  description: z.string().optional(),
  parameters: z
    .array(
      z.object({
        name: z.string(),
        in: z.string(),
        required: z.boolean(),
        description: z.string().optional(),
        schema: schemaShape,
      }),
    )
    .default([]),
  requestBody: z.object({ content: contentShape }).optional(),
  responses: z.record(z.string(), z.object({ description: z.string(), content: contentShape })),
});
const documentShape = z.object({
  info: z.object({ title: z.string(), version: z.string(), description: z.string() }),
  paths: z.record(z.string(), z.record(z.string(), operationShape)),
  components: z.object({ schemas: z.record(z.string(), schemaShape) }),
});
type Operation = z.output<typeof operationShape>;

const STYLE = `
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 60rem; padding: 1rem; }
h1, h2 { line-height: 1.2; }
section { border-top: 1px solid #8886; padding: 0.5rem 0; }
code, pre { font: 14px/1.4 ui-monospace, monospace; }
pre { background: #8882; overflow-x: auto; padding: 0.75rem; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid #8884; padding: 0.25rem 0.75rem 0.25rem 0; text-align: left; vertical-align: top; }
.method { display: inline-block; min-width: 3.5rem; font-weight: 600; }
`;

/** What a browser may load for the page: its own style, and nothing else from anywhere. */
export const apiPagePolicy = `default-src 'none'; style-src 'sha256-${createHash("sha256").update(STYLE).digest("base64")}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;

/** An OpenAPI document as one HTML page without scripts and without anything from elsewhere. */
export function apiPage(openApiDocument: unknown): string {
  const { info, paths, components } = documentShape.parse(openApiDocument);
  const operations = Object.entries(paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({ path, method: method.toUpperCase(), operation })),
  );
  const index = operations.map(
    ({ path, method, operation }) =>
      `<tr><td><span class="method">${method}</span> <a href="#${operation.operationId}"><code>${html(path)}</code></a></td><td>${html(operation.summary)}</td></tr>`,
  );
  const schemas = Object.entries(components.schemas).map(
    ([name, schema]) => `<section id="schema-${name}"><h2>${html(name)}</h2>${pretty(schema)}</section>`,
  );
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${html(info.title)}</title><style>${STYLE}</style></head>
<body>
<h1>${html(info.title)}</h1>
<p>Version ${html(info.version)}. ${html(info.description)} <a href="/api/v1/openapi.json">OpenAPI 3.1 document</a>.</p>
<table>${index.join("\n")}</table>
${operations.map(({ path, method, operation }) => section(path, method, operation)).join("\n")}
${schemas.join("\n")}
</body>
</html>
`;
}

function section(path: string, method: string, operation: Operation): string {
  const { operationId, summary, description, parameters, requestBody, responses } = operation;
  const rows = parameters.map(
    (entry) =>
      `<tr><td><code>${html(entry.name)}</code></td><td>${entry.in}${entry.required ? ", required" : ""}</td><td>${html(entry.description ?? String(entry.schema.description ?? ""))}</td><td><code>${html(JSON.stringify(withoutText(entry.schema)))}</code></td></tr>`,
  );
  const bodies = Object.values(requestBody?.content ?? {}).map(
    ({ schema }) => `<details><summary>Body</summary>${pretty(schema)}</details>`,
  );
  const answers = Object.entries(responses).map(([status, response]) => {
    const own = Object.entries(response.content).filter(([type]) => type !== "application/problem+json");
    const shown = own.map(([type, { schema }]) => `<p><code>${html(type)}</code></p>${pretty(schema)}`);
    const text = `<code>${status}</code> ${html(response.description)}`;
    return shown.length === 0
      ? `<p>${text}</p>`
      : `<details><summary>${text}</summary>${shown.join("")}</details>`;
  });
  return `<section id="${operationId}">
<h2><span class="method">${method}</span> <code>${html(path)}</code></h2>
<p>${html(summary)}.${description === undefined ? "" : ` ${html(description)}.`}</p>
${rows.length === 0 ? "" : `<table><tr><th>parameter</th><th>in</th><th>meaning</th><th>shape</th></tr>${rows.join("")}</table>`}
${bodies.join("")}${answers.join("")}
</section>`;
}

function withoutText({ description: _, ...schema }: Record<string, unknown>): unknown {
  return schema;
}

function pretty(schema: unknown): string {
  return `<pre>${html(JSON.stringify(schema, null, 2))}</pre>`;
}

function html(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
}
