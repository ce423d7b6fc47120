// The current chat: its title and menu, its messages, and the composer.
import { useEffect } from "preact/hooks";
import { current, loadModels, model, serverFault, shownMessages, storageFault } from "../session";
import { ChatMenu } from "./ChatMenu";
import { Composer } from "./Composer";
import { Messages } from "./Messages";
import { isSettingsOpen, isSidebarOpen } from "./state";

export function Chat() {
  const { title } = current.value;
  const isEmpty = shownMessages.value.length === 0;
  useEffect(() => {
    document.title = isEmpty ? "realizar" : `${title} - realizar`;
  }, [title, isEmpty]);
  return (
    <main class={isEmpty ? "chat empty" : "chat"}>
      <header>
        <button type="button" id="open-chats" class="only-small" onClick={() => (isSidebarOpen.value = true)}>
          Chats
        </button>
        <h1>{title}</h1>
        {!isEmpty && <ChatMenu />}
        <button type="button" onClick={() => (isSettingsOpen.value = true)}>
          Settings
        </button>
      </header>
      {serverFault.value && (
        <div class="notice" role="alert">
          <span>{serverFault}</span>
          <button type="button" onClick={() => void loadModels()}>
            Try again
          </button>
        </div>
      )}
      {storageFault.value && (
        <div class="notice" role="alert">
          <span>{storageFault}</span>
        </div>
      )}
      {isEmpty ? <Welcome /> : <Messages />}
      <Composer key={current.value.id} />
    </main>
  );
}

function Welcome() {
  const name = model.value?.id;
  return (
    <div class="welcome">
      <p class="welcome-title">What do you want to know?</p>
      <p>{name ? `${name} answers on this server's own CPU.` : "The models of this server answer on its own CPU."}</p>
      <p class="hint only-keyboard">
        <kbd>Enter</kbd> sends, <kbd>Shift</kbd> + <kbd>Enter</kbd> begins a line, <kbd>Esc</kbd> stops an answer.
      </p>
    </div>
  );
}
