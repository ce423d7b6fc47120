// What is open on the page.
import { signal } from "@preact/signals";

export const isSettingsOpen = signal(false);
/** Whether the list of chats covers a small screen; large ones always show it. */
export const isSidebarOpen = signal(false);
