/**
 * Facts that the Rust core knows too. They come from there (src/facts.rs), once, so that the two halves cannot differ.
 * Types that name codes and events stand in lib/error.ts and lib/native/events.ts; __test__/types/core-facts.test.js compares them.
 */
import * as native from "#native";

const facts = native.facts();

/** The longest key, token or user id, in bytes of UTF-8. */
export const MAX_KEY_BYTES = facts.maxKeyBytes;

/** The prefix of the keys of Better Auth's own lists of a user's sessions: `active-sessions-`. */
export const SESSION_LIST_PREFIX = facts.sessionListPrefix;

/** The prefix of the keys of not-before markers. A user's sessions from before that time, in ms since the epoch, are ended. */
export const NOT_BEFORE_PREFIX = facts.notBeforePrefix;

/** How far from its `createdAt` a session may be created by a write, in s. */
export const YOUNG_SECONDS = facts.youngSeconds;

/** How many counters the memory of a near cache has. */
export const STRIPES = facts.stripes;

/** The codes of errors that say that Redis cannot answer: the core keeps ends and writes under the same ones. */
export const OUTAGE_CODES: readonly string[] = facts.outageCodes;

/** The name of every event. */
export const EVENT_NAMES: readonly string[] = facts.eventNames;
