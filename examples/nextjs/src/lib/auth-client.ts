// Better Auth in the browser.

import { createAuthClient } from "better-auth/react";

export const authClient = createAuthClient();
