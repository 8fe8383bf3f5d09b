/**
 * Takes completions from the store thread. One wake-up settles all completed calls.
 *
 * Everything here belongs to one module instance on one JavaScript thread, and is shared by its stores. The addon keeps the process alive
 * while a waiter exists, and only then.
 */
import * as native from "#native";
import { SessionStoreError, type SessionStoreErrorCode } from "../error.js";
import { answerCredentials, type CredentialsFunction } from "./credentials.js";
import type { StoreEvents } from "./events.js";
import { startMicrotaskRun } from "./near-cache.js";

/** Waits for the completions of one number: a call has one, the reads of a tick may come in parts. */
export interface Waiter {
	/** Handle of the store that was called. */
	readonly handle: number;
	complete(answer: never): void;
	fail(error: SessionStoreError): void;
}

/** In place of a call's number: the addon began this by itself. */
const NOT_A_CALL = 0;

/** Number of this module instance in the addon. The first store that is opened registers it. */
let instance: number | undefined;
let lastNumber = 0;
const waiters = new Map<number, Waiter>();
/** Async hooks see this object. Like Node.js' own handles it says whether it keeps the process alive: Jest lists those that do. */
const resource = { hasRef: () => waiters.size > 0 };
/** By the handle of a store: the receiver of its connection's events. */
const eventsByHandle = new Map<number, StoreEvents>();
/** By the handle of a store: the application's function for user name and password. */
const credentialsByHandle = new Map<number, CredentialsFunction>();
/** By the handle of a closed store: called when its last call is settled. */
const closing = new Map<number, () => void>();

/** The number of this module instance, which is registered if it is not yet. */
export function instanceNumber(): number {
	instance ??= native.attach(settle, resource);
	return instance;
}

/** Registers a waiter and returns the number for its calls. */
export function addWaiter(waiter: Waiter): number {
	lastNumber = (lastNumber + 1) >>> 0 || 1;
	waiters.set(lastNumber, waiter);
	return lastNumber;
}

/** Fails every waiter. For when no call can have reached the store thread. */
export function failAll(error: SessionStoreError): void {
	for (const waiter of waiters.values()) waiter.fail(error);
	waiters.clear();
	// Their subscriptions were in the batch that was lost.
	for (const handle of eventsByHandle.keys()) native.watchEvents(handle);
	endClosing();
}

/** Sends the events of a store's connection to `events` until the handle is forgotten. */
export function watchEvents(handle: number, events: StoreEvents): void {
	eventsByHandle.set(handle, events);
	native.watchEvents(handle);
}

/** Lets a store's connections call a function for user name and password until the addon releases it. */
export function registerCredentials(handle: number, credentials: CredentialsFunction): void {
	credentialsByHandle.set(handle, credentials);
	native.registerCredentials(handle);
}

/** Closes a handle. Resolves when every call that was made with it is settled. */
export function closeHandle(handle: number): Promise<void> {
	native.close(handle);
	eventsByHandle.delete(handle);
	return new Promise((resolve) => {
		closing.set(handle, resolve);
		endClosing();
	});
}

/** Settles everything that has completed. The items are described at `drain` in src/drain.rs. */
function settle(): void {
	startMicrotaskRun();
	const completed = native.drain(instance as number) as unknown[];
	for (let i = 0; i < completed.length; i += 3) {
		const number = completed[i] as number;
		if (number === NOT_A_CALL) {
			receive(completed[i + 1] as number, completed[i + 2] as string | number | null);
			continue;
		}
		const status = completed[i + 1] as SessionStoreErrorCode | undefined | false;
		const waiter = waiters.get(number) as Waiter;
		if (status !== false) waiters.delete(number);
		if (!status) waiter.complete(completed[i + 2] as never);
		else waiter.fail(new SessionStoreError(status, completed[i + 2] as string));
	}
	endClosing();
}

/** Receives an event (JSON), the number of a request for credentials, or `null`: the credentials function is released. */
function receive(handle: number, message: string | number | null): void {
	if (typeof message === "string") {
		eventsByHandle.get(handle)?.dispatch(JSON.parse(message));
	} else if (message === null) {
		credentialsByHandle.delete(handle);
	} else {
		void answerCredentials(instance as number, message, credentialsByHandle.get(handle) as CredentialsFunction);
	}
}

/** Ends the closing of each store whose calls are all settled. */
function endClosing(): void {
	if (closing.size === 0) return;
	const busy = new Set<number>();
	for (const { handle } of waiters.values()) busy.add(handle);
	for (const [handle, end] of closing) {
		if (busy.has(handle)) continue;
		closing.delete(handle);
		end();
	}
}
