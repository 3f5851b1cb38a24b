output "subscription_id" {
  description = "The event subscription."
  value       = azurerm_eventgrid_system_topic_event_subscription.this.id
}
