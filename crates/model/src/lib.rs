//! The nouns: ids, specs, facts, actions, recovery points, alarms; configuration and its errors.
