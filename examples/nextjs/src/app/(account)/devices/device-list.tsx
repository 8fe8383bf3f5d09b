"use client";

import { useActionState } from "react";
import { endSessions } from "./actions";

export interface Device {
	/** Of its session. */
	id: string;
	browser: string;
	ipAddress: string;
	isThis: boolean;
	/** ISO 8601. */
	lastUsedAt: string;
	/** "3 minutes ago on server 1" */
	lastUse: string;
}

/** One form for all: the button that was pressed says which device is meant; the last one, all but this. */
export function DeviceList({ devices }: { devices: Device[] }) {
	const [message, action, isPending] = useActionState(endSessions, "");
	return (
		<form action={action}>
			<ul className="devices">
				{devices.map(({ id, browser, ipAddress, isThis, lastUsedAt, lastUse }) => (
					<li key={id} className="card" data-testid="device">
						<div>
							<h2>
								{browser} {isThis && <span className="badge">This device</span>}
							</h2>
							<p>
								{ipAddress} · last used <time dateTime={lastUsedAt}>{lastUse}</time>
							</p>
						</div>
						{!isThis && (
							<button type="submit" name="id" value={id} className="quiet" disabled={isPending}>
								Sign out
								<span className="unseen">
									{" "}
									{browser}, last used {lastUse}
								</span>
							</button>
						)}
					</li>
				))}
			</ul>
			{devices.length > 1 && (
				<button type="submit" disabled={isPending}>
					Sign out all other devices
				</button>
			)}
			<p role="status" className="told">
				{message}
			</p>
		</form>
	);
}
