//! The main job with real processes: one signed manifest, one campaign, three devices.
