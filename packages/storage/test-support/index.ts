export * from "./etcd-cluster.ts";
export * from "./postgres-server.ts";
