// Who sends a request: a full check of the session, in microseconds.

import { gates } from "./auth";
import { counted } from "./checks";

/** For proxy.ts, layouts and pages. They cannot set cookies, so the browser's `useSession()` is what extends a session. */
export const getPageSession = counted(gates.reading);

/** For actions and route handlers. */
export const getSession = counted(gates.extending);
