/** Keys of `meta` that no node writes: they keep nodes from starting on a database. */

/** The database was moved; the value says where to. */
export const MOVED = "store/moved";
/** The database is being filled. */
export const IMPORTING = "store/importing";
