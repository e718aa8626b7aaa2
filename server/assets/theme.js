// Before anything is painted: the light or dark that was chosen here; without a choice, the system's.
try {
  const chosen = localStorage.getItem("theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch { /* No storage: the system's. */ }
