/** A native store that keeps the user in each session equal to the user's row. A `UserSync` notes its writes. */

import type { StoreMetrics } from "./metrics.js";
import { YOUNG_SECONDS } from "./native/facts.js";
import { NativeStore, type Reply } from "./native/native-store.js";
import type { StoreOptions } from "./options.js";
import { UserSync } from "./user-sync.js";

export class SyncedStore extends NativeStore {
	readonly userSync: UserSync;

	/** @throws {SessionStoreError} `INVALID_ARGUMENT`. Its message names every option that is wrong. */
	constructor({ loadUser, ...options }: StoreOptions) {
		super(options);
		this.userSync = new UserSync(this.call.bind(this), this.events, loadUser);
	}

	/** Writes a value and notes a change of the user. Warns if the write was ignored. `ttl` is in s. */
	override async set(key: string, value: string, ttl: number | undefined): Promise<Reply> {
		let reply: Reply;
		try {
			reply = await super.set(key, value, ttl);
		} catch (error) {
			this.userSync.noteFailedWrite(key, value, error);
			throw error;
		}
		if (typeof reply === "string") this.userSync.noteWrite(reply);
		else if (reply === 0) {
			this.events.warn(
				`a session older than ${YOUNG_SECONDS} s that is not in Redis was not written, so that an ended session cannot come back; to import sessions use createSession (docs/coming-from.md)`,
			);
		}
		return reply;
	}

	override metrics(): StoreMetrics {
		return { ...super.metrics(), userLooks: this.userSync.metrics() };
	}

	override close(): Promise<void> {
		this.userSync.close();
		return super.close();
	}
}
