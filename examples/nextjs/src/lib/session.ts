// Who sends a request: a full check of the session, in microseconds.

import { sessionGate } from "better-auth-redis-store/gate";
import { auth, storage } from "./auth";
import { counted } from "./checks";

/** For proxy.ts, layouts and pages. They cannot set cookies, so the browser's `useSession()` is what extends a session. */
export const getPageSession = counted(sessionGate(auth, storage, { onRefresh: "skip" }));

/** For actions and route handlers. */
export const getSession = counted(sessionGate(auth, storage));
